export type KeyScalar = string | number | bigint | boolean;

/** A GetOnlineFeaturesRequest of Feast, from whatever wire. */
export type FeastRead = {
  /** Empty: `features` says which. */
  readonly featureService: string;
  /** References like `view:feature` and `view@v2:feature`. */
  readonly features: readonly string[];
  /** For each join key, or entity that has only one, a value for every row. */
  readonly entities: ReadonlyMap<string, readonly (KeyScalar | null)[]>;
  readonly fullFeatureNames: boolean;
  /** Names the views that were read, and their versions, in the answer. */
  readonly viewMetadata: boolean;
};
