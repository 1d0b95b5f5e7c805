/** An application with work to do, in one process. */
import { Socket } from "effect-engine.io"
import { busy } from "./busy.ts"
import { serve } from "./router.ts"

serve(busy, Socket.sendAll)
