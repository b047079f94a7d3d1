/** Instructions that add products of 8 bits into 32 bits at once (VNNI), as /proc/cpuinfo names them. */
const widening: readonly string[] = ['avx512_vnni', 'avx_vnni', 'avx_vnni_int8', 'amx_int8'];

/**
 * Whether INT8 products with weights of all eight bits may saturate: x86 without VNNI adds pairs of them in 16 bits
 * (`vpmaddubsw`), so onnxruntime's sums are wrong where both are large, and weights of seven bits are needed.
 *
 * @param architecture as `process.arch`.
 * @param cpuInfo the text of /proc/cpuinfo; empty where there is none: nothing is claimed.
 */
export function int8Saturates(architecture: string, cpuInfo: string): boolean {
  const flags = /^flags\s*:(.*)$/m.exec(cpuInfo)?.[1]?.split(/\s+/);
  return architecture === 'x64' && flags !== undefined && !flags.some((flag) => widening.includes(flag));
}
