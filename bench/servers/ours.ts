/** Our server on `HttpRouter`, as the front page shows it. */
import { Socket } from "effect-engine.io"
import { serve } from "./router.ts"

serve((socket) => Socket.forEach(socket, (message) => Socket.send(socket, message)), Socket.sendAll)
