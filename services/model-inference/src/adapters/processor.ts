import { readFileSync } from 'node:fs';
import { int8Saturates } from '@millrace/onnx';

/** Whether INT8 models with weights of all eight bits may answer wrongly on this processor. */
export function saturatesHere(): boolean {
  try {
    return int8Saturates(process.arch, readFileSync('/proc/cpuinfo', 'utf8'));
  } catch {
    return false;
  }
}
