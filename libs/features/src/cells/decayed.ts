import type { Cell, Finish, Merge, Part, Slots } from './cell.ts';

/**
 * Sums in which an event weighs 2^(−age / half-life): slots n, time, weight, sum, where the weights are as of `time`, the newest event's. So a
 * weight is at most 1, and what is lost when two cells of different times meet is below a double's smallest.
 */
export function decayMerger({ halfLifeUs }: Cell): Merge {
  return (to, at, from, fromAt) => {
    if (from[fromAt] === 0) return;
    const time = from[fromAt + 1] as number;
    const weight = from[fromAt + 2] as number;
    const sum = from[fromAt + 3] as number;
    if (to[at] === 0) {
      for (let i = 0; i < 4; i++) to[at + i] = from[fromAt + i] as number;
      return;
    }
    const behindUs = time - (to[at + 1] as number);
    const [own, given] = behindUs > 0 ? [2 ** (-behindUs / halfLifeUs), 1] : [1, 2 ** (behindUs / halfLifeUs)];
    to[at] = (to[at] as number) + (from[fromAt] as number);
    to[at + 1] = Math.max(time, to[at + 1] as number);
    to[at + 2] = (to[at + 2] as number) * own + weight * given;
    to[at + 3] = (to[at + 3] as number) * own + sum * given;
  };
}

/** As of the start of a step; the reader lets it decay from there. */
export function decayFinisher({ halfLifeUs }: Cell, what: 'sum' | 'count'): Finish {
  const place = what === 'sum' ? 3 : 2;
  const ofNothing = what === 'sum' ? null : 0;
  return (slots, at, _parts, _partAt, stepUs) => {
    if (slots[at] === 0) return ofNothing;
    return (slots[at + place] as number) * 2 ** (((slots[at + 1] as number) - stepUs) / halfLifeUs);
  };
}

/** Decays alike above and below the line: the same whenever it is read. */
export const finishDecayedMean: Finish = (slots, at) =>
  slots[at] === 0 ? null : (slots[at + 3] as number) / (slots[at + 2] as number);

const chunkHalfLives = 256;

/** The weight of an event in SQL, times in microseconds. */
export function weightSql(eventUs: string, asOfUs: string, halfLifeUs: number): string {
  return `exp2((${eventUs} - ${asOfUs}) / ${halfLifeUs})`;
}

/**
 * Sums of weights and of weighted values as JSON, one for each chunk of 256 half-lives and as of its start: none overflows, and none
 * that counts is lost.
 */
export function decayedPartSql(eventUs: string, value: string, halfLifeUs: number, where: string): string {
  return `toJSONString(${chunksSql(eventUs, value, halfLifeUs, where)})`;
}

/** As of the newest chunk's start: however long ago it was, a mean is left. */
export function decayedMeanSql(eventUs: string, value: string, halfLifeUs: number, where: string): string {
  const sum = (of: string) => `arraySum((c, v) -> v * exp2(${chunkHalfLives} * (c - m.1[-1])), m.1, ${of})`;
  return `arrayMap(m -> ${sum('m.3')} / ${sum('m.2')}, [${chunksSql(eventUs, value, halfLifeUs, where)}])[1]`;
}

function chunksSql(eventUs: string, value: string, halfLifeUs: number, where: string): string {
  const chunkUs = chunkHalfLives * halfLifeUs;
  const weight = `exp2((${eventUs} % ${chunkUs}) / ${halfLifeUs})`;
  return `sumMapIf([intDiv(${eventUs}, ${chunkUs})], [${weight}], [${weight} * ${value}], ${where})`;
}

/** Fills the slots of time, weight and sum with what `decayedPartSql` gave. */
export function readDecayed({ halfLifeUs }: Cell, lastUs: number, json: string, slots: Slots): Part {
  const [chunks, weights, sums] = JSON.parse(json) as [unknown[], unknown[], unknown[]];
  slots[1] = lastUs;
  for (const [i, chunk] of chunks.entries()) {
    const factor = 2 ** ((Number(chunk) * chunkHalfLives * halfLifeUs - lastUs) / halfLifeUs);
    slots[2] = (slots[2] as number) + Number(weights[i]) * factor;
    slots[3] = (slots[3] as number) + Number(sums[i]) * factor;
  }
  return null;
}
