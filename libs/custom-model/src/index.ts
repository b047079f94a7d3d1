/** Element types of tensors, in the words of the Open Inference Protocol. */
export type TensorDatatype = keyof TensorArrays;

/** What the elements of a tensor come and go as: row-major. BOOL is 0 or 1, FP16 its bits, BYTES text. */
export interface TensorArrays {
  readonly BOOL: Uint8Array;
  readonly UINT8: Uint8Array;
  readonly UINT16: Uint16Array;
  readonly UINT32: Uint32Array;
  readonly UINT64: BigUint64Array;
  readonly INT8: Int8Array;
  readonly INT16: Int16Array;
  readonly INT32: Int32Array;
  readonly INT64: BigInt64Array;
  readonly FP16: Uint16Array;
  readonly FP32: Float32Array;
  readonly FP64: Float64Array;
  readonly BYTES: readonly string[];
}

/** A tensor that a model takes or gives; −1 for a dimension of any size. */
export interface TensorDeclaration {
  readonly name: string;
  readonly datatype: TensorDatatype;
  readonly shape: readonly number[];
}

/** What a model takes and gives. */
export interface ModelSignature {
  /** At least one; names are unique. */
  readonly inputs: readonly TensorDeclaration[];
  readonly outputs: readonly TensorDeclaration[];
  /**
   * Requests share a call of `predict`, up to so many rows: every input and output must begin with −1, the rows, and a row's answer must
   * not depend on the others. Left out: each request has a call of its own.
   */
  readonly batching?: { readonly rowsMax: number };
}

/** Elements and the shape that they have; their number is the product of the shape. */
export interface TensorValue<D extends TensorDatatype = TensorDatatype> {
  readonly shape: readonly number[];
  readonly data: TensorArrays[D];
}

export type TensorValues<T extends readonly TensorDeclaration[]> = {
  readonly [Declared in T[number] as Declared['name']]: TensorValue<Declared['datatype']>;
};

/** What `load` is given. */
export interface LoadContext {
  /** The name under which the model is registered. */
  readonly model: string;
  /** `custom.parameters` of its definition. */
  readonly parameters: Readonly<Record<string, string>>;
  /** Bytes of `custom.files` of its definition, by their names. */
  readonly files: Readonly<Record<string, Uint8Array>>;
}

/** What `predict` is given beside the inputs. */
export interface PredictContext<State> extends LoadContext {
  /** What `load` gave. */
  readonly state: State;
  /** The outputs that somebody wants; others need not be given. */
  readonly outputs: readonly string[];
}

/** A model written in TypeScript. What it throws fails the requests of that call; it goes on afterwards. */
export interface CustomModel<Signature extends ModelSignature, State> {
  readonly signature: Signature;
  /** Once in each process, before the first `predict`. */
  load?(context: LoadContext): State | Promise<State>;
  predict(
    inputs: TensorValues<Signature['inputs']>,
    context: PredictContext<State>,
  ): Partial<TensorValues<Signature['outputs']>> | Promise<Partial<TensorValues<Signature['outputs']>>>;
}

/** The model as given, with the types that its signature says. The module exports it as `model`. */
export function defineModel<const Signature extends ModelSignature, State = undefined>(
  model: CustomModel<Signature, State>,
): CustomModel<Signature, State> {
  return model;
}
