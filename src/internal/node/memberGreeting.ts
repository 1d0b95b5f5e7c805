/**
 * The first words on a connection between members of a cluster: each end says who it is and proves that it knows their
 * secret. Then what comes goes, message by message, to whoever takes it.
 */
import type * as Net from "node:net"
import { type Hello, type Message, version } from "../server/clusterMessages.ts"
import { encode, MessageReader } from "./memberMessages.ts"
import { isSame, makeNonce, proofOf } from "./memberProof.ts"
import { openTimeout } from "./memberWire.ts"

/** The most that is read of somebody who may be no member, in bytes. */
const firstSize = 1024

/** Larger messages are none: an answer holds little more than `maxPayload`, but any single message of an application. */
const largest = 2 ** 30

/** What takes the next message of a connection, and says what takes the one after it: nothing, where that is none. */
export type Step = (message: Message, reader: MessageReader) => Step | undefined

/** One member, as it meets others. `onDrop` is told why a connection is dropped. */
export class Greeter {
  private readonly self: string
  private readonly secret: string
  private readonly onDrop: (why: string) => void
  constructor(self: string, secret: string, onDrop: (why: string) => void) {
    this.self = self
    this.secret = secret
    this.onDrop = onDrop
  }

  /** Answers whoever has connected; once it has proved to be a member, `onMember` says what takes its messages. */
  welcome(socket: Net.Socket, onMember: (member: string) => Step): void {
    const { secret, self } = this
    const nonce = makeNonce()
    const onGreeted = limit(socket)
    this.read(socket, (hello) => {
      if (hello._tag !== "Hello") return this.refuse(socket)
      send(socket, { _tag: "Welcome", from: self, nonce, proof: proofOf(secret, "Welcome", hello, self, nonce) })
      return (message, reader) => {
        if (message._tag !== "Proof" || !isSame(message.proof, proofOf(secret, "Proof", hello, self, nonce))) {
          return this.refuse(socket)
        }
        reader.most = largest
        onGreeted()
        return onMember(hello.from)
      }
    })
  }

  /** Greets a member, or whoever answers; once it has proved to be one, `onMember` says what takes its messages. */
  greet(socket: Net.Socket, member: string | undefined, onMember: (member: string) => Step | undefined): void {
    const { secret, self } = this
    const hello: Hello = { _tag: "Hello", version, from: self, nonce: makeNonce() }
    const onGreeted = limit(socket)
    // A network fails in a system call, TLS does not.
    const onError = (error: NodeJS.ErrnoException): void =>
      error.syscall === undefined ? this.dropInsecure(error, socket) : undefined
    socket.on("error", onError)
    send(socket, hello)
    this.read(socket, (message, reader) => {
      if (
        message._tag !== "Welcome" || message.from !== (member ?? message.from) ||
        !isSame(message.proof, proofOf(secret, "Welcome", hello, message.from, message.nonce))
      ) return this.refuse(socket)
      reader.most = largest
      socket.off("error", onError)
      onGreeted()
      send(socket, { _tag: "Proof", proof: proofOf(secret, "Proof", hello, message.from, message.nonce) })
      return onMember(message.from)
    })
  }

  /** Reads messages from a connection until no step takes them any more, or it ends. */
  private read(socket: Net.Socket, first: Step): void {
    const reader = new MessageReader(firstSize)
    let step: Step | undefined = first
    const onData = (chunk: Buffer): void => {
      reader.push(chunk)
      for (let message = reader.next(); message !== undefined; message = reader.next()) {
        if (message === "malformed") return this.drop(socket, "what came on it was no message")
        step = step!(message, reader)
        if (step === undefined) return void socket.off("data", onData).off("end", onEnd)
        if (socket.destroyed) return
      }
    }
    // A pipe has two halves, a link has not.
    const onEnd = (): void => void socket.destroy()
    socket.on("data", onData).on("end", onEnd).on("error", () => {})
  }

  private drop(socket: Net.Socket, why: string): undefined {
    this.onDrop(why)
    socket.destroy()
  }

  private refuse(socket: Net.Socket): undefined {
    return this.drop(socket, "the other end is no member, or speaks another version")
  }

  readonly dropInsecure = (error: NodeJS.ErrnoException, socket: Net.Socket): undefined =>
    this.drop(socket, error.code ?? error.message)
}

/** Closes a connection that takes longer than it may, however little it is silent; returns the end of that. */
const limit = (socket: Net.Socket): () => void => {
  const timer = setTimeout(() => socket.destroy(), openTimeout)
  const end = (): void => clearTimeout(timer)
  socket.setNoDelay(true).once("close", end)
  return end
}

/** Several messages of one turn leave together. */
export const send = (socket: Net.Socket, message: Message): void => {
  if (!socket.writable) return
  if (socket.writableCorked === 0) {
    socket.cork()
    process.nextTick(uncork, socket)
  }
  socket.write(encode(message))
}

const uncork = (socket: Net.Socket): void => socket.uncork()
