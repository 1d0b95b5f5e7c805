/**
 * What comes and goes, in the order in which it came.
 *
 * V8 makes the table of a map or a set anew every few hundred changes. The table before it still has what was in it and,
 * once it is in the old heap itself, keeps that in memory until the whole heap is collected: sessions and connections would
 * be moved to the old heap after their end. So what lives as long as the server has places in its tables, and whoever leaves
 * empties his own. Where clients connect, upgrade and go, a quarter less is moved.
 */

/** Where somebody stands in such a table. */
export class Place<out A> {
  item: A | undefined
  constructor(item: A) {
    this.item = item
  }
}

/** Who stands in these places. */
export function* itemsOf<A>(places: Iterable<Place<A>>): IterableIterator<A> {
  for (const { item } of places) if (item !== undefined) yield item
}

export class Roster<A, P extends Place<A> = Place<A>> implements Iterable<A> {
  private readonly places = new Set<P>()

  get size(): number {
    return this.places.size
  }

  get first(): P | undefined {
    for (const place of this.places) return place
    return undefined
  }

  enter(place: P): P {
    this.places.add(place)
    return place
  }

  /** `false` where it had left before. */
  leave(place: P): boolean {
    place.item = undefined
    return this.places.delete(place)
  }

  clear(): void {
    for (const place of this.places) this.leave(place)
  }

  [Symbol.iterator](): IterableIterator<A> {
    return itemsOf(this.places)
  }
}
