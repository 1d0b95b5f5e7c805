/** The program of the front page on two workers, with an application of one's choice. */
import { Layer } from "effect"
import { Socket } from "effect-engine.io"
import * as EngineIOCluster from "effect-engine.io/EngineIOCluster"
import cluster from "node:cluster"
import { control } from "./control.ts"
import { serve } from "./router.ts"

export const serveOnWorkers = (app: Parameters<typeof serve>[0]): void => {
  if (cluster.isPrimary) {
    let listening = 0
    cluster.on("listening", (_, { port }) => {
      const none = (): void => {}
      // Each also has a socket for the others, which has no port.
      if (port <= 0) return
      // Who has gone is seen by the workers alone.
      if (++listening === 2) control({ port, sessions: () => 0, broadcast: none, burst: none, flood: none })
    })
  }
  serve(app, Socket.sendAll, Layer.empty, EngineIOCluster.layerNodeCluster({ workers: 2 }))
}
