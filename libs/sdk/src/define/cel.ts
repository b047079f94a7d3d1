/** A CEL expression where a field could stand. */
export interface Cel {
  readonly cel: string;
}

/** An expression over the source's fields in place of a field: `of.sum(cel('price * double(quantity)'), { window })`. */
export function cel(text: string): Cel {
  return { cel: text };
}
