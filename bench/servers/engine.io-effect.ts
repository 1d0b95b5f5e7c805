/**
 * The reference in a process that has also loaded what `ours` has, and does nothing with it: what the larger heap of an
 * Effect application costs a server, whichever it is.
 */
import "@effect/platform-node/NodeHttpServer"
import "@effect/platform-node/NodeRuntime"
import "effect/http/HttpRouter"
import "effect-engine.io"
import "./engine.io.ts"
