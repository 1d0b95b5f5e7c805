/** What stands in for the metrics of a server that counts nothing. */
import type { MetricsRecorder as Counting } from "../../../src/internal/server/metrics.ts"

type Calls = "opened" | "closed" | "received" | "sent" | "refused" | "upgraded" | "roundTrip" | "end"

export class MetricsRecorder implements Pick<Counting, Calls> {
  opened(): void {}
  closed(): void {}
  received(): void {}
  sent(): void {}
  refused(): void {}
  upgraded(): void {}
  roundTrip(): void {}
  end(): void {}
}
