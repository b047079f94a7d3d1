import { createSharedErrors, MeshError } from '@millrace/kernel';
import { type Caller, createCallerBook } from './caller-book.ts';
import { createQueueLimit } from './queue-limit.ts';

/** Decides whether a read begins. What is refused is refused before any work: OVERLOADED, with the limit and when to come again. */
export type Admission = {
  /** Throws OVERLOADED. The pass is to be ended, whatever becomes of the read. */
  enter(read: AdmittedRead, nowMs: number): Pass;
  /** Why a read of so many rows would be refused; asked before a request is decoded. */
  full(caller: string, rows: number, nowMs: number): MeshError | undefined;
};

export type AdmittedRead = {
  readonly caller: string;
  readonly rows: number;
  /** Infinity: no deadline, or the caller takes what is ready by then. */
  readonly leftMs: number;
};

export type Pass = {
  /** The store gave its first answer, or gave none in time. */
  waited(nowMs: number): void;
  end(nowMs: number): void;
};

export type AdmissionLimits = {
  /** Rows being read at once, of all callers. */
  readonly inFlightRowsMax: number;
  /** Rows being read at once, of one caller. */
  readonly callerInFlightRowsMax: number;
  /** Rows a second of one caller, of which one second may come at once; 0: as many as can be read. */
  readonly callerRowsPerSMax: number;
  /** How long reads may wait for the store before new ones are refused. */
  readonly queueTargetMs: number;
};

export type LimitName = 'rows' | 'queue' | 'deadline' | 'caller_rows' | 'caller_rate';

export type AdmissionTelemetry = {
  refused(limit: LimitName): void;
  /** After each read that ends. */
  state(inFlightRows: number, limitRows: number): void;
};

export function createAdmission(limits: AdmissionLimits, telemetry: AdmissionTelemetry): Admission {
  const queue = createQueueLimit({
    rowsMin: Math.min(queueRowsMin, limits.inFlightRowsMax),
    rowsMax: limits.inFlightRowsMax,
    targetMs: limits.queueTargetMs,
  });
  const callers = createCallerBook({ rowsPerSMax: limits.callerRowsPerSMax });
  let inFlightRows = 0;
  let inFlightWeight = 0;
  let inFlightReads = 0;

  const refusals = createSharedErrors();

  function refuse(limit: LimitName, caller: string, nowMs: number, make: () => Refusal): MeshError {
    telemetry.refused(limit);
    return refusals(`${limit} ${caller}`, nowMs, () => {
      const { message, metadata, retryAfterMs } = make();
      return new MeshError('OVERLOADED', message, { ...metadata, limitName: limit }, { retryAfterMs });
    });
  }

  function refusal({ caller: name, rows, leftMs }: AdmittedRead, caller: Caller, nowMs: number): MeshError | undefined {
    if (inFlightRows + rows > limits.inFlightRowsMax) {
      return refuse('rows', '', nowMs, () =>
        tooManyRows(rows, inFlightRows, limits.inFlightRowsMax, queue.waitMs(nowMs)),
      );
    }
    if (caller.inFlightRows + rows > limits.callerInFlightRowsMax) {
      return refuse('caller_rows', name, nowMs, () =>
        tooManyRowsOfCaller(name, rows, caller.inFlightRows, limits.callerInFlightRowsMax, queue.waitMs(nowMs)),
      );
    }
    if (inFlightReads === 0) return undefined;
    const waitMs = queue.waitMs(nowMs);
    const held = inFlightReads >= queueReadsMin && inFlightWeight + rows + requestRows > queue.rows();
    if (held) queue.reached();
    if (held && !hasShare(caller.inFlightRows + rows))
      return refuse('queue', '', nowMs, () => queueIsLong(waitMs, inFlightRows, Math.floor(queue.rows())));
    return waitMs > leftMs ? refuse('deadline', '', nowMs, () => deadlineIsNear(waitMs, leftMs)) : undefined;
  }

  return {
    full: (caller, rows, nowMs) =>
      refusal({ caller, rows, leftMs: Number.POSITIVE_INFINITY }, callers.of(caller, nowMs), nowMs),
    enter(read, nowMs) {
      const { caller: name, rows } = read;
      const caller = callers.of(name, nowMs);
      const refused = refusal(read, caller, nowMs);
      if (refused) throw refused;
      const shortMs = caller.take(rows);
      if (shortMs > 0) {
        throw refuse('caller_rate', name, nowMs, () => tooFast(name, limits.callerRowsPerSMax, Math.ceil(shortMs)));
      }
      const weight = rows + requestRows;
      inFlightWeight += weight;
      inFlightRows += rows;
      inFlightReads++;
      caller.began(rows);
      return {
        waited: (firstMs) => queue.waited(firstMs - nowMs, firstMs),
        end(endMs) {
          inFlightRows -= rows;
          inFlightReads--;
          inFlightWeight -= weight;
          caller.ended(rows);
          queue.ended(weight, endMs);
          telemetry.state(inFlightRows, queue.rows());
        },
      };
    },
  };

  /** A caller within its part of the limit is let in though others fill it, up to as much again. */
  function hasShare(rowsOfCaller: number): boolean {
    const limit = queue.rows();
    return callers.active() > 1 && rowsOfCaller <= limit / callers.active() && inFlightWeight < 2 * limit;
  }
}

/** However slow the store is, so many rows keep trying it. */
const queueRowsMin = 1_000;
/** So few reads are no queue, however large they are and however long they take. */
const queueReadsMin = 4;
/** What a request costs besides its rows, in rows: a request of one row takes about 100 µs, each further row about 6 µs. */
const requestRows = 16;

type Refusal = {
  readonly message: string;
  readonly metadata: Readonly<Record<string, string | number>>;
  readonly retryAfterMs: number;
};

function tooManyRows(rows: number, inFlightRows: number, limit: number, waitMs: number): Refusal {
  return {
    message: `the request's ${rows} rows and the ${inFlightRows} that are being read are more than the limit of ${limit}; retry later or send fewer rows`,
    metadata: { rows, inFlightRows, limit },
    retryAfterMs: retryMs(waitMs),
  };
}

function tooManyRowsOfCaller(
  caller: string,
  rows: number,
  inFlightRows: number,
  limit: number,
  waitMs: number,
): Refusal {
  return {
    message: `the request's ${rows} rows and the ${inFlightRows} that are being read of caller "${caller}" are more than its limit of ${limit}; wait for answers or send fewer rows`,
    metadata: { caller, rows, inFlightRows, limit },
    retryAfterMs: retryMs(waitMs),
  };
}

function queueIsLong(waitMs: number, rows: number, limit: number): Refusal {
  return {
    message: `reads wait ${Math.ceil(waitMs)} ms and ${rows} rows are being read, as many as can be without a longer wait; retry later`,
    metadata: { waitMs: Math.ceil(waitMs), rows, limit },
    retryAfterMs: retryMs(waitMs),
  };
}

function deadlineIsNear(waitMs: number, leftMs: number): Refusal {
  return {
    message: `reads wait ${Math.ceil(waitMs)} ms and the deadline is in ${Math.floor(leftMs)} ms; retry later or send a later deadline`,
    metadata: { waitMs: Math.ceil(waitMs), leftMs: Math.floor(leftMs) },
    retryAfterMs: retryMs(waitMs),
  };
}

function tooFast(caller: string, limit: number, retryAfterMs: number): Refusal {
  return {
    message: `caller "${caller}" reads more than ${limit} rows a second, its limit; retry in ${retryAfterMs} ms`,
    metadata: { caller, limit },
    retryAfterMs,
  };
}

function retryMs(waitMs: number): number {
  return Math.min(2_000, Math.max(20, Math.ceil(2 * waitMs)));
}
