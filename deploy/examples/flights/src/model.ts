/** The delay model and its deployment; its bytes and columns come from `train/train.py`, by way of `model/model.json`. */
import { readFileSync } from 'node:fs';
import { deployment, type InputColumn, model } from '@millrace/sdk';
import { arrivals, flightDelay } from './definitions.ts';

interface ModelCard {
  readonly sha256: string;
  readonly columns: readonly InputColumn[];
  readonly input: string;
  readonly output: string;
  readonly output_column: number;
}

const card = JSON.parse(readFileSync(new URL('../model/model.json', import.meta.url), 'utf8')) as ModelCard;

export const delayModel = model('flight_delay', {
  owner: 'flights@millrace.example',
  description: 'The probability that a flight arrives more than 15 minutes late, at its scheduled departure',
  uri: 'flight-delay.onnx',
  sha256: card.sha256,
  featureService: flightDelay,
  input: { name: card.input, columns: card.columns },
  output: { name: card.output, column: card.output_column },
  outcome: { source: arrivals, key: 'flight', label: 'delayed' },
});

export const delayDeployment = deployment('flight_delay', {
  owner: 'flights@millrace.example',
  targets: [{ model: delayModel }],
});
