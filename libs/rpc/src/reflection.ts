import { readFileSync } from 'node:fs';
import { loadFileDescriptorSetFromBuffer } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { descriptorSetPath } from '@millrace/contracts';
import type { ServerMethod } from './server/server-method.ts';

type Implementation = Parameters<Parameters<ReflectionService['addToServer']>[0]['addService']>[1];
type Definition = Parameters<Parameters<ReflectionService['addToServer']>[0]['addService']>[0];

/** grpc.reflection.v1 and v1alpha, as `@grpc/reflection` answers them: written for grpc-js, which it sees a stream of here. */
export function reflectionMethods(services: readonly string[]): readonly ServerMethod[] {
  const methods: ServerMethod[] = [];
  const contracts = loadFileDescriptorSetFromBuffer(readFileSync(descriptorSetPath));
  new ReflectionService(contracts, { services: [...services] }).addToServer({
    addService(definition: Definition, implementation: Implementation) {
      for (const [name, method] of Object.entries(definition)) {
        const run = implementation[name] as unknown as (stream: ReflectionStream) => void;
        methods.push({
          t: 'stream',
          path: method.path,
          requestStream: true,
          async answer(messages, _context, answers) {
            const made: unknown[] = [];
            let take: (request: unknown) => void = () => {};
            run({
              on(event, listener) {
                if (event === 'data') take = listener;
              },
              write: (response) => made.push(response),
              end() {},
            });
            for await (const message of messages) {
              take(method.requestDeserialize(message));
              for (const response of made.splice(0)) await answers.write(method.responseSerialize(response));
            }
          },
        });
      }
    },
  });
  return methods;
}

/** As much of a stream of grpc-js as reflection uses; it answers before `data` returns. */
type ReflectionStream = {
  on(event: 'data' | 'end', listener: (request: unknown) => void): void;
  write(response: unknown): void;
  end(): void;
};
