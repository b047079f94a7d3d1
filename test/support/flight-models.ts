import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type InputColumn, model } from '@millrace/sdk';
import { arrivals, flightDelay } from '../../deploy/examples/flights/src/definitions.ts';

export const flightsDir = join(import.meta.dirname, '..', '..', 'deploy', 'examples', 'flights');

interface ModelCard {
  readonly columns: readonly InputColumn[];
  readonly input: string;
  readonly output: string;
  readonly output_column: number;
}

const card = JSON.parse(readFileSync(join(flightsDir, 'model', 'model.json'), 'utf8')) as ModelCard;

/** The trained flight-delay model with each coefficient multiplied: −1 takes every feature for its opposite. */
export function scaledDelayModel(name: string, factor: number, modelDir: string) {
  const bytes = scaleCoefficients(readFileSync(join(flightsDir, 'model', 'flight-delay.onnx')), factor);
  const uri = `${name}.onnx`;
  writeFileSync(join(modelDir, uri), bytes);
  return model(name, {
    owner: 'tests',
    uri,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    featureService: flightDelay,
    input: { name: card.input, columns: card.columns },
    output: { name: card.output, column: card.output_column },
    outcome: { source: arrivals, key: 'flight', label: 'delayed' },
  });
}

/** AttributeProto.floats (field 7), 32 bits each, not packed: so skl2onnx writes them. */
const floatTag = 0x3d;
const coefficientsOfBothClasses = 2 * card.columns.length;

function scaleCoefficients(champion: Buffer, factor: number): Buffer {
  const bytes = Buffer.from(champion);
  let at = bytes.indexOf('coefficients') + 'coefficients'.length;
  let count = 0;
  for (; bytes[at] === floatTag; at += 5, count++) bytes.writeFloatLE(bytes.readFloatLE(at + 1) * factor, at + 1);
  if (count !== coefficientsOfBothClasses) throw new Error(`${count} coefficients found in flight-delay.onnx`);
  return bytes;
}
