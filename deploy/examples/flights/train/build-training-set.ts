/**
 * Lets a running mesh build the training set of the delay model: `node train/build-training-set.ts training-set.parquet [rows]`.
 * The mesh must hold January to June: `npm start -- --fresh --from 2001-07-01 --history-days 181 --days 0.01`.
 */

import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { compute } from '@millrace/contracts';
import { connect } from '@millrace/rpc';
import { readEndpoints } from '@millrace/sdk';

const [target = 'training-set.parquet', rowsWanted = '400000'] = process.argv.slice(2);

// a label is a flight at its scheduled departure; the outcome comes from its arrival. The hash makes the sample the same every time.
// The first eight days are left out: their seven-day windows would be half empty.
const labelQuery = `
  SELECT d._event_time AS label_time, d.flight AS flight, d.origin AS origin, d.destination AS destination, d.hour AS hour,
         d.distance_miles AS distance_miles, a.delayed AS delayed
  FROM events_departures AS d
  INNER JOIN (SELECT flight, delayed FROM events_arrivals) AS a ON a.flight = d.flight
  WHERE d._event_time >= '2001-01-09 00:00:00' AND cityHash64(d.flight) % 2860000 < ${Number(rowsWanted)}
`;

const client = connect(compute.ComputeServiceService, readEndpoints().services['feature-compute']?.grpc ?? '', {
  defaultTimeoutMs: 3_600_000,
});
const file = createWriteStream(target);
try {
  // the whole history was loaded today, so known times say nothing about 2001: every event before the label time counts
  const parts = client.buildTrainingSet(
    compute.BuildTrainingSetRequest.fromPartial({ featureService: 'flight_delay', labelQuery, complete: true }),
  );
  for await (const { part } of parts) {
    if (part?.$case === 'progress')
      process.stderr.write(`${part.value.stepsDone} of ${part.value.stepsTotal}: ${part.value.activity}\n`);
    if (part?.$case === 'parquet' && !file.write(part.value)) await once(file, 'drain');
    if (part?.$case === 'record')
      process.stdout.write(`${JSON.stringify({ ...part.value, rows: Number(part.value.rows) })}\n`);
  }
} finally {
  file.end();
  await once(file, 'close');
  client.close();
}
