/** Where a derived feature or a lookup gets a value that it uses. */
export type ShapeInput =
  /** One of `reads`. */
  | { readonly t: 'read'; readonly at: number }
  /** An earlier one of `steps`. */
  | { readonly t: 'step'; readonly at: number }
  | { readonly t: 'request'; readonly at: number }
  /** A join key of the request, for lookups. */
  | { readonly t: 'key'; readonly name: string }
  | { readonly t: 'as_of' };

export type ShapeReport = (field: string, message: string) => void;
