/**
 * What an application is to the types: what it needs, and what it must not be.
 */
import type * as Effect from "effect/Effect"
import type * as HttpRouter from "effect/http/HttpRouter"
import type { HttpServerRequest, ParsedSearchParams } from "effect/http/HttpServerRequest"
import type { CloseReason } from "../../CloseReason.ts"
import type { SocketClosed } from "../session/model.ts"

/**
 * What an application makes of one session.
 *
 * `app` runs as long as the session; when it ends, the session is closed after what was sent is delivered. When the
 * session ends first, `app` gets the messages that had arrived and is then interrupted, as `Socket.receive` says.
 * `onDisconnect` runs once, after the session and `app` have ended; it has 10 seconds.
 *
 * @category models
 * @since 0.1.0
 */
export interface SocketApp<R = unknown> {
  readonly app: Effect.Effect<unknown, unknown, R>
  readonly onDisconnect?: ((reason: CloseReason) => Effect.Effect<void, never, R>) | undefined
}

/**
 * What the types of a `SocketApp` say of it.
 *
 * @category models
 * @since 0.1.0
 */
export declare namespace SocketApp {
  /** What the two parts of a `SocketApp` need, each by itself. */
  export type Services<A> = A extends SocketApp ?
      | Effect.Services<A["app"]>
      | ([NonNullable<A["onDisconnect"]>] extends [never] ? never
        : NonNullable<A["onDisconnect"]> extends (reason: never) => Effect.Effect<unknown, unknown, infer R> ? R
        : never)
    : never

  /** Services of the request, which are gone when the session runs. */
  export type RequestOnly = HttpServerRequest | ParsedSearchParams | HttpRouter.RouteContext

  /** Refuses, at compile time, a `SocketApp` that reaches for the request, or has members that nobody reads. */
  export type Valid<A> =
    & ([Extract<Services<A>, RequestOnly>] extends [never] ? unknown
      : { readonly app: "the request is gone when `app` runs: read it in the function given to `handler`" })
    & { readonly [K in Exclude<Members<A>, keyof SocketApp>]?: "a SocketApp has `app` and `onDisconnect`, and no more" }

  /** Refuses, at compile time, a function that would run its application instead of returning it. */
  export type Returned<A, E> = [A] extends [never]
    ? [E] extends [never] ? NeverReturned : [Extract<E, SocketClosed>] extends [never] ? unknown : NeverReturned
    : unknown

  /** What an Effect that never succeeds lacks. */
  export interface NeverReturned {
    readonly "return { app: … }: this function would run the application, and the client wait for its answer": never
  }

  /** What the function given to `handler` returns. */
  export type Decision<A, E, R> = Effect.Effect<A & Valid<A>, E, R> & Returned<A, E>
}

type Members<A> = A extends unknown ? keyof A : never
