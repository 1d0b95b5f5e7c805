/**
 * The services an application runs with: those of its handler, less what belongs to the request.
 */
import * as Context from "effect/Context"
import * as Fiber from "effect/Fiber"
import * as HttpRouter from "effect/http/HttpRouter"
import { HttpServerRequest, ParsedSearchParams } from "effect/http/HttpServerRequest"
import * as Scope from "effect/Scope"
import type { Session } from "../session/session.ts"

/**
 * The session whose application a fiber belongs to. It is known by its state alone: what a context holds may stay in memory
 * until the whole heap is collected.
 */
class CurrentSession extends Context.Service<CurrentSession, Session["state"]>()("effect-engine.io/CurrentSession") {}

/** Whether the application of a session, or a fiber of its own, runs at this moment. */
export const isRunning = (session: Session): boolean => {
  const fiber = Fiber.getCurrent()
  return fiber !== undefined && Context.getOrUndefined(fiber.context, CurrentSession) === session.state
}

/** Who holds the context that most of its sessions have in common. */
export interface ContextHolder {
  sharedContext: Context.Context<never> | undefined
  /** The base of the last one that it was made for, or compared with. */
  sharedBase: ReadonlyMap<string, unknown> | undefined
}

/** Effect's own state of a request, which is not public: `test/effect.test.ts` fails when it has another name. */
export const requestState = "effect/http/HttpEffect/CurrentRequestState"

/**
 * What a request adds to the context of its handler. None of it may live as long as a session. `test/effect.test.ts` fails
 * when there is more.
 */
export const requestKeys: ReadonlySet<string> = new Set([
  HttpServerRequest.key,
  ParsedSearchParams.key,
  HttpRouter.RouteContext.key,
  Scope.Scope.key,
  requestState
])

/**
 * The context for a session opened by a request with this one. Most requests of a server differ in nothing else than
 * what is left out here, so that their sessions share all of their contexts but two services.
 */
export const sessionContext = (
  holder: ContextHolder,
  context: Context.Context<never>,
  session: Session
): Context.Context<never> =>
  Context.add(
    Context.add(shared(holder, context), CurrentSession, session.state),
    Scope.Scope,
    session.scope
  ) as Context.Context<
    never
  >

const shared = (holder: ContextHolder, context: Context.Context<never>): Context.Context<never> => {
  const known = holder.sharedContext
  const base = baseOf(context)
  if (known !== undefined && base !== undefined && base === holder.sharedBase) return known
  // Whatever is shared from here on comes to the same as this one.
  holder.sharedBase = base
  const services = context.mapUnsafe
  if (known !== undefined && isSame(known.mapUnsafe, services)) return known
  const own = new Map<string, unknown>()
  for (const [key, service] of services) if (!requestKeys.has(key)) own.set(key, service)
  return holder.sharedContext = Context.makeUnsafe(own)
}

/**
 * The services of a context to which nothing was added but a request's. Effect puts a context together, which costs a
 * hundredth of a session that connects and upgrades, when it is asked for all of them; `test/effect.test.ts` names the
 * version in which these parts were seen, and fails when there are none.
 */
export const baseOf = (context: Context.Context<never>): ReadonlyMap<string, unknown> | undefined => {
  const { base, overlay } = context as Context.Context<never> & Partial<Parts>
  if (base === undefined || base.has(HttpServerRequest.key)) return undefined
  for (let added = overlay; added !== undefined; added = added.parent) if (!requestKeys.has(added.key)) return undefined
  return base
}

interface Parts {
  readonly base: ReadonlyMap<string, unknown>
  readonly overlay: Overlay | undefined
}

interface Overlay {
  readonly key: string
  readonly parent: Overlay | undefined
}

const isSame = (known: ReadonlyMap<string, unknown>, services: ReadonlyMap<string, unknown>): boolean => {
  let count = 0
  for (const key of services.keys()) {
    if (requestKeys.has(key)) continue
    if (known.get(key) !== services.get(key)) return false
    count++
  }
  return count === known.size
}
