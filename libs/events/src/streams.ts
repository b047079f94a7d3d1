import { MeshError } from '@millrace/kernel';
import { DiscardPolicy, RetentionPolicy, StorageType, type StreamConfig } from '@nats-io/jetstream';
import type { NatsLink } from './link.ts';

export type StreamName =
  | 'INGEST'
  | 'EVENTS'
  | 'QUARANTINE'
  | 'PREDICTIONS'
  | 'ALERTS'
  | 'ROLLOUT_DECISIONS'
  | 'AUDIT'
  | 'EXPOSURES';

const gib = 2 ** 30;
const secondNs = 1e9;

/** On disk, with limits: the oldest go when a stream is full, but for INGEST, where publishers are refused. */
const streams: Readonly<Record<StreamName, Partial<StreamConfig>>> = {
  INGEST: {
    subjects: ['millrace.ingest.*'],
    retention: RetentionPolicy.Workqueue,
    discard: DiscardPolicy.New,
    max_bytes: gib,
  },
  EVENTS: { subjects: ['millrace.events.*.*'], max_bytes: 8 * gib },
  QUARANTINE: { subjects: ['millrace.quarantine.*.*'], max_bytes: gib },
  PREDICTIONS: { subjects: ['millrace.predictions.*'], max_bytes: 2 * gib },
  ROLLOUT_DECISIONS: { subjects: ['millrace.rollouts.*', 'millrace.aliases.*'], max_bytes: gib / 4 },
  EXPOSURES: { subjects: ['millrace.exposures.*'], max_bytes: gib / 2 },
  AUDIT: { subjects: ['millrace.audit.*.*'], max_bytes: gib / 4 },
  ALERTS: { subjects: ['millrace.alerts.*'], max_bytes: gib / 4 },
};

/** Makes the streams that are not there yet; those that are keep their messages and get the stated limits. */
export async function ensureStreams({ jsm }: NatsLink): Promise<void> {
  for (const [name, config] of Object.entries(streams)) {
    const wanted = {
      retention: RetentionPolicy.Limits,
      discard: DiscardPolicy.Old,
      storage: StorageType.File,
      duplicate_window: 120 * secondNs,
      ...config,
    };
    try {
      await jsm.streams.add({ ...wanted, name } as StreamConfig & { name: string });
    } catch (cause) {
      await jsm.streams.update(name, wanted).catch(() => {
        throw new MeshError(
          'STORE_UNAVAILABLE',
          `stream "${name}" could not be made: ${(cause as Error).message}`,
          { stream: name },
          { cause },
        );
      });
    }
  }
}

export interface StreamState {
  /** 0 when nothing was ever there; last + 1 when everything is gone. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  readonly messages: number;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
}

export async function streamInfo({ jsm }: NatsLink, stream: string): Promise<StreamState> {
  try {
    const { state, created } = await jsm.streams.info(stream);
    const createdMs = new Date(created).getTime();
    return { firstSeq: state.first_seq, lastSeq: state.last_seq, messages: state.messages, createdMs };
  } catch (cause) {
    throw new MeshError(
      'STORE_UNAVAILABLE',
      `stream "${stream}" does not answer: ${(cause as Error).message}`,
      { stream },
      { cause },
    );
  }
}
