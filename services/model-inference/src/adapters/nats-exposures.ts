import { events } from '@millrace/contracts';
import { createPublisher, type NatsLink, readStream, subjects } from '@millrace/events';
import { newId } from '@millrace/kernel';
import type { PublishExposures } from '../app/exposures.ts';

const stream = 'EXPOSURES';
/** Of a message; what takes longer is tried again with what came since. */
const publishMs = 2_000;

/** The exposure log. */
export function createExposureLog(link: NatsLink) {
  const publisher = createPublisher(link, { maxInFlight: 16 });
  const publish: PublishExposures = async (deployment, deploymentVersion, exposures) => {
    const batch: events.ExposureBatch = {
      deployment,
      deploymentVersion,
      exposures: exposures.map((exposure) => ({ ...exposure, exposedUs: BigInt(exposure.exposedUs) })),
    };
    await publisher.publish(subjects.exposures(deployment), events.ExposureBatch.encode(batch).finish(), {
      msgId: newId(),
      signal: AbortSignal.timeout(publishMs),
    });
  };
  return {
    publish,
    async *read(fromSeq: number, until: AbortSignal) {
      for await (const { seq, data, pending } of readStream(link, { stream, fromSeq, signal: until }))
        yield { seq, batch: events.ExposureBatch.decode(data), pending };
    },
  };
}
