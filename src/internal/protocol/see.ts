/** The end of a message: the heading of the page in the package that gives cause and remedy. */
export const see = (heading: string): string => ` (see effect-engine.io/docs/errors.md#${heading})`
