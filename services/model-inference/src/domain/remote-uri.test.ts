import { expect, test } from 'vitest';
import { remotePlace } from './remote-uri.ts';

test.each([
  ['grpc://triton:8001/fraud', { protocol: 'oip-grpc', server: 'triton:8001', model: 'fraud', version: '' }],
  ['grpc://triton:8001/fraud/3', { protocol: 'oip-grpc', server: 'triton:8001', model: 'fraud', version: '3' }],
  ['http://h:8000/v2/models/a%20b', { protocol: 'oip-rest', server: 'http://h:8000', model: 'a b', version: '' }],
  [
    'https://h/serving/v2/models/m/versions/7',
    { protocol: 'oip-rest', server: 'https://h/serving', model: 'm', version: '7' },
  ],
  [
    'http://h:8501/v1/models/m/versions/7',
    { protocol: 'tf-serving', server: 'http://h:8501', model: 'm', version: '7' },
  ],
])('%s', (uri, place) => expect(remotePlace(uri)).toEqual(place));

test.each([
  'grpc://triton:8001',
  'http://h/v2/models/',
  'http://h/v3/models/m',
  'http://h/v2/models/m/infer',
  'm.onnx',
])('%s is refused with the forms that there are', (uri) =>
  expect(() => remotePlace(uri)).toThrow('is no place of a remote model; write grpc://host:port/model[/version]'),
);
