/**
 * onnxruntime-common puts FP16 into a Float16Array where there is one, and onnxruntime-node's native part reads such an array as empty
 * (1.30, Node 24). Without one it keeps the bits in a Uint16Array, as this service does. To be called in a worker, whose globals are its
 * own, before it makes a tensor.
 */
export function keepHalfFloatsAsBits(): void {
  Reflect.deleteProperty(globalThis, 'Float16Array');
}
