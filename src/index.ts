/**
 * The Engine.IO server for Effect applications.
 *
 * @since 0.1.0
 */
export * as CloseReason from "./CloseReason.ts"
export * as ClusterRooms from "./ClusterRooms.ts"
export * as EngineIO from "./EngineIO.ts"
export * as HandshakeError from "./HandshakeError.ts"
export * as Packet from "./Packet.ts"
export * as Payload from "./Payload.ts"
export * as Rooms from "./Rooms.ts"
export * as Socket from "./Socket.ts"
export * as Transport from "./Transport.ts"
export * as TypedSocket from "./TypedSocket.ts"

export { EngineIOLive } from "./EngineIO.ts"
