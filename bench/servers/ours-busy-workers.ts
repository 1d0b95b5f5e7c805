/** An application with work to do, on two workers. */
import { busy } from "./busy.ts"
import { serveOnWorkers } from "./workers.ts"

serveOnWorkers(busy)
