/** Clients of `effect/rpc` that send `window` calls at once, as its own client writes them. */
import type { Target } from "../../shared/calls.ts"
import { cycle, textOf } from "../../shared/content.ts"
import { opcode } from "../frames.ts"
import type { Load, Trouble } from "../run.ts"
import { exchanges, openExchange } from "./echo.ts"

/** Ids of one length. Those of the calls under way differ. */
const idOf = (index: number): number => 1000 + index

const span = "\"traceId\":\"e73034c8d4ad82f57dee9a9ca9f15601\",\"spanId\":\"2bbdcdffa826e654\",\"sampled\":true"

const request = (text: string, index: number): string =>
  `{"_tag":"Request","id":${idOf(index)},"tag":"Echo","payload":{"text":"${text}"},${span},"headers":[]}`

const response = (text: string, index: number): string =>
  `{"_tag":"Exit","requestId":${idOf(index)},"exit":{"_tag":"Success","value":"${text}"}}`

export const openRpc = (
  target: Target,
  trouble: Trouble,
  options: { readonly clients: number; readonly window: number }
): Promise<Load> => {
  const prefix = target.dialect === "bare" ? "" : "4"
  const payloads = (write: (text: string, index: number) => string) =>
    Array.from({ length: cycle }, (_, index) => Buffer.from(prefix + write(textOf(32, index), index)))
  return openExchange(target, trouble, options, exchanges(opcode.text, payloads(request), payloads(response)))
}
