/**
 * What is published on topics. A process hears each topic once, however many take its messages there.
 */
import * as Effect from "effect/Effect"
import * as RcMap from "effect/RcMap"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Message } from "../../Packet.ts"
import { sizeOf } from "../protocol/bytes.ts"
import { observe, type Observed, publish } from "../session/observers.ts"
import { checkName, type Topics } from "./topics.ts"

/** Those who take the messages of a topic, by its name. */
export type TopicMessages = RcMap.RcMap<string, Observed<Message>>

export const makeTopicMessages = (topics: Topics): Effect.Effect<TopicMessages, never, Scope.Scope> =>
  RcMap.make({
    lookup: Effect.fnUntraced(function*(name: string) {
      const heard: Observed<Message> = { observers: undefined }
      const listening = topics.listen(name, (news) => {
        if (news._tag !== "Published" || heard.observers === undefined) return
        publish(heard.observers, news.payload, sizeOf(news.payload))
      })
      // Nobody waits here for members that hang.
      yield* Effect.forkScoped(listening, { startImmediately: true })
      return heard
    })
  })

export const messagesOn = (all: TopicMessages, name: string): Stream.Stream<Message> =>
  Stream.unwrap(Effect.gen(function*() {
    checkName(name)
    return observe(yield* RcMap.get(all, name), () => false)
  }))
