/**
 * RPC over the least that a client could take for a WebSocket: one frame is one read, none is checked, nothing is limited,
 * and nobody notices when the other end is gone. What is left is Node, the kernel and `effect/rpc`.
 */
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import type { NonEmptyReadonlyArray } from "effect/Array"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as RpcSerialization from "effect/rpc/RpcSerialization"
import * as RpcServer from "effect/rpc/RpcServer"
import * as EffectSocket from "effect/socket/Socket"
import { SocketServer } from "effect/socket/SocketServer"
import { createHash } from "node:crypto"
import { type AddressInfo, createServer, type Socket } from "node:net"
import { opcode } from "../load/frames.ts"
import { control } from "./control.ts"
import { Api, handlers } from "./rpc.ts"

type Batch = NonEmptyReadonlyArray<string>

/** The texts in a chunk of whole, masked frames. */
const textsOf = (chunk: Buffer): Array<string> => {
  const texts: Array<string> = []
  for (let at = 0; at < chunk.length;) {
    const short = chunk[at + 1]! & 127
    const head = at + (short === 126 ? 4 : 2)
    const length = short === 126 ? chunk.readUInt16BE(at + 2) : short
    const start = head + 4
    for (let i = 0; i < length; i++) chunk[start + i]! ^= chunk[head + (i & 3)]!
    texts.push(chunk.toString("latin1", start, start + length))
    at = start + length
  }
  return texts
}

const frame = (text: string): string =>
  text.length < 126
    ? String.fromCharCode(0x81, text.length) + text
    : String.fromCharCode(0x81, 126, text.length >> 8, text.length & 255) + text

const closeFrame = Buffer.from([0x80 | opcode.close, 0])

const toEffectSocket = (socket: Socket): EffectSocket.Socket => {
  let arrived: Array<string> = []
  let resume: ((batch: Effect.Effect<Batch>) => void) | undefined
  socket.on("data", (chunk: Buffer) => {
    if ((chunk[0]! & 15) === opcode.close) return void socket.end(closeFrame)
    arrived.push(...textsOf(chunk))
    const waiting = resume
    if (waiting === undefined || arrived.length === 0) return
    const batch = arrived as unknown as Batch
    arrived = []
    resume = undefined
    waiting(Effect.succeed(batch))
  })
  const pull = Effect.callback<Batch>((waiting) => {
    if (arrived.length === 0) return void (resume = waiting)
    const batch = arrived as unknown as Batch
    arrived = []
    waiting(Effect.succeed(batch))
  })
  const write = (chunk: Uint8Array | string | EffectSocket.CloseEvent) =>
    Effect.sync(() => void socket.write(frame(chunk as string), "latin1"))
  return EffectSocket.make({
    reader: Effect.succeed({ pull, upgrade: EffectSocket.SocketUpgradeError.unsupported }),
    writer: Effect.succeed({ write, writeAll: (chunks) => Effect.forEach(chunks, write, { discard: true }) })
  })
}

const accept = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

const open = Effect.callback<SocketServer["Service"]>((resume) => {
  let serve: (socket: Socket) => void = () => {}
  const server = createServer({ noDelay: true }, (socket) => {
    socket.on("error", () => {}).once("data", (head) => {
      const key = /sec-websocket-key: *(\S+)/i.exec(head.toString("latin1"))![1]!
      socket.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
          `Sec-WebSocket-Accept: ${accept(key)}\r\n\r\n`
      )
      serve(socket)
    })
  }).listen(0, "127.0.0.1", () => {
    const { port } = server.address() as AddressInfo
    resume(Effect.succeed({
      address: { _tag: "TcpAddress", hostname: "127.0.0.1", port } as never,
      run: (handler) =>
        Effect.contextWith((context) => {
          serve = (socket) => void Effect.runForkWith(context as never)(handler(toEffectSocket(socket)) as never)
          return Effect.never
        })
    }))
    const nothing = (): void => {}
    control({ port, sessions: () => 0, broadcast: nothing, burst: nothing, flood: nothing })
  })
})

NodeRuntime.runMain(Layer.launch(
  RpcServer.layer(Api).pipe(
    Layer.provide(handlers),
    Layer.provide(RpcServer.layerProtocolSocketServer),
    Layer.provide([RpcSerialization.layerJson, Layer.effect(SocketServer, open)])
  )
))
