import { oip } from '@millrace/contracts';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { glanceAt } from './glance.ts';

test('a glance says of a request what decoding it says', () => {
  const request = fc.record({
    modelName: fc.string({ unit: 'binary', maxLength: 40 }),
    modelVersion: fc.string(),
    id: fc.string({ maxLength: 40 }),
    priority: fc.option(fc.integer({ min: 0, max: 2 ** 31 })),
    isSigned: fc.boolean(),
    others: fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
  });
  fc.assert(
    fc.property(request, ({ modelName, modelVersion, id, priority, isSigned, others }) => {
      const parameters = new Map<string, oip.InferParameter>(
        Object.entries(others)
          .filter(([name]) => name !== 'priority')
          .map(([name, value]) => [name, { parameterChoice: { $case: 'stringParam', value } }]),
      );
      if (priority !== null)
        parameters.set('priority', {
          parameterChoice: { $case: isSigned ? 'int64Param' : 'uint64Param', value: BigInt(priority) },
        });
      const message = oip.ModelInferRequest.fromPartial({
        ...{ modelName, modelVersion, id, parameters },
        inputs: [{ name: 'priority', datatype: 'FP32', shape: [1n] }],
        rawInputContents: [Buffer.alloc(4)],
      } as never);
      const glance = glanceAt(Buffer.from(oip.ModelInferRequest.encode(message).finish()));
      const { modelName: model, modelVersion: version } = oip.ModelInferRequest.decode(
        oip.ModelInferRequest.encode(message).finish(),
      );
      expect(glance).toEqual({ model, version, priority: priority ?? undefined });
    }),
  );
});

test('bytes that are no request are looked at without an error', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => void glanceAt(Buffer.from(bytes))));
});
