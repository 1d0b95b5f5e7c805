/**
 * Promises where effects belong: whoever writes without types may return one.
 */

const ignore = (): void => {}

/** Whoever looks at the value refuses a promise. What that rejects with is to end no process besides. */
export const defuse = <A>(value: A): A => {
  if (typeof value === "object" && value !== null && "then" in value) Promise.resolve(value).then(ignore, ignore)
  return value
}
