/**
 * Flags that several commands have.
 */
import * as Argument from "effect/cli/Argument"
import * as Flag from "effect/cli/Flag"
import * as Option from "effect/Option"
import type { TransportType } from "../../Transport.ts"

const units: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 }

const toMillis = (text: string): Option.Option<number> => {
  const [, amount, unit = ""] = /^(\d+(?:\.\d+)?)\s*(ms|s|m)$/.exec(text.trim()) ?? []
  const millis = Number(amount) * units[unit]!
  return millis > 0 ? Option.some(millis) : Option.none()
}

export const duration = (name: string, description: string, normal: string): Flag.Flag<number> =>
  Flag.String(name).pipe(
    Flag.withMetavar("<duration>"),
    Flag.withDescription(`${description}, such as 500ms or 10s (default: ${normal})`),
    Flag.withDefault(normal),
    Flag.filterMap(toMillis, () => "a duration above zero with its unit, such as 500ms, 10s or 2m")
  )

export const toggle = (name: string, description: string): Flag.Flag<boolean> =>
  Flag.Boolean(name).pipe(Flag.withDescription(description), Flag.withDefault(false), Flag.withoutNegation)

export const count = (name: string, description: string, normal: number, least = 1): Flag.Flag<number> =>
  Flag.Int(name).pipe(
    Flag.withMetavar("<number>"),
    Flag.withDescription(`${description} (default: ${normal})`),
    Flag.withDefault(normal),
    Flag.filter((value) => value >= least, () => `a number from ${least} on`)
  )

export const json = toggle("json", "Print a line of JSON for everything that happens")

type Transports = readonly [TransportType, ...Array<TransportType>]

const toTransports = (text: string): Option.Option<Transports> => {
  const names = text.split(",").map((name) => name.trim())
  const isKnown = (name: string): name is TransportType => name === "polling" || name === "websocket"
  return names.every(isKnown) ? Option.some([...new Set(names)] as unknown as Transports) : Option.none()
}

export const transports = (description: string, normal: string): Flag.Flag<Transports> =>
  Flag.String("transports").pipe(
    Flag.withMetavar("<names>"),
    Flag.withDescription(`${description} (default: ${normal})`),
    Flag.withDefault(normal),
    Flag.filterMap(toTransports, () => "polling, websocket, or both with a comma between them")
  )

export const url: Argument.Argument<string> = Argument.String("url").pipe(
  Argument.withDescription("The server: without a scheme it is http://, without a path /engine.io/"),
  Argument.map((text) => /^\w+:\/\//.test(text) ? text : `http://${text}`)
)

const toHeader = (text: string): Option.Option<readonly [string, string]> => {
  const [, name, value] = /^([\w!#$%&'*+.^`|~-]+):[ \t]*([^\r\n]*)$/.exec(text) ?? []
  return name === undefined ? Option.none() : Option.some([name, value!])
}

export const headers: Flag.Flag<Readonly<Record<string, string>>> = Flag.String("header").pipe(
  Flag.withAlias("H"),
  Flag.withMetavar("<name: value>"),
  Flag.withDescription("A header of every request; may be given several times"),
  Flag.filterMap(toHeader, () => "a name and a value, such as \"authorization: Bearer …\""),
  Flag.atLeast(0),
  Flag.map(Object.fromEntries<string>)
)
