/** Owns what every rendered reply is: a list of server-sent events, and the same reply as one JSON body. */

export interface WireEvent {
  /** Name of the event; null where the API sends data lines only. */
  event: string | null;
  data: object;
}

export interface Rendered {
  events: WireEvent[];
  whole: object;
  /** Written after the last event. */
  end?: string;
}

/** One server-sent event as it goes over the wire. */
export function frame({ event, data }: WireEvent): string {
  return `${event === null ? "" : `event: ${event}\n`}data: ${JSON.stringify(data)}\n\n`;
}
