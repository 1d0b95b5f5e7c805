/**
 * What sessions belong to.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import { RouteContext } from "effect/http/HttpRouter"
import type { Program } from "../session/life.ts"
import type { Socket } from "../session/model.ts"
import type { Session } from "../session/session.ts"

/** The function a user passes to `EngineIO.handler`. */
export type Factory = (socket: Socket) => Effect.Effect<Program, unknown, unknown>

/** The handler that opened a session or, where that is built anew for every request, its route. */
export class Owner {
  readonly factory: Factory
  private readonly identity: object
  constructor(factory: Factory, route?: object) {
    this.factory = factory
    this.identity = route ?? this
  }

  owns(session: Session): boolean {
    return (session.owner as Owner).identity === this.identity
  }
}

/** The route whose request is being handled right now. */
export const currentRoute = (): object | undefined => {
  const fiber = Fiber.getCurrent()
  return fiber && Context.getOrUndefined(fiber.context as Context.Context<RouteContext>, RouteContext)?.route
}
