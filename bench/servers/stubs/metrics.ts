/** What stands in for the metrics of a server that counts nothing. */
import type { Tally as Counting } from "../../../src/internal/server/metrics.ts"

type Calls = "opened" | "closed" | "received" | "sent" | "refused" | "upgraded" | "beat" | "end"

export class Tally implements Pick<Counting, Calls> {
  opened(): void {}
  closed(): void {}
  received(): void {}
  sent(): void {}
  refused(): void {}
  upgraded(): void {}
  beat(): void {}
  end(): void {}
}
