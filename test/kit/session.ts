/**
 * What tests look at behind a `Socket`, where nothing public tells.
 */
import type { Socket } from "../../src/index.ts"
import { get, isPaused, type Session } from "../../src/internal/session/session.ts"

const toSession = (socket: Socket.Socket): Session => socket as Session

/** Whether the server has stopped reading from the client. */
export const isReadingPaused = (socket: Socket.Socket): boolean => isPaused(toSession(socket))

/** Bytes that the connection holds and the network has not taken. */
export const unsentBytes = (socket: Socket.Socket): number => get(toSession(socket).transport).unsent

/** Whether the client is on its way to another transport. */
export const isUpgrading = (socket: Socket.Socket): boolean => toSession(socket).upgrade !== undefined
