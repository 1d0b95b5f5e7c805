/**
 * What an application's own tests need.
 *
 * @since 0.2.0
 */
export * as EngineIOTest from "./testing/EngineIOTest.ts"
