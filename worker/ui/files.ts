/** Owns the place of the built dashboard: none here; whoever bundles the worker puts `npm run build:ui`'s module in its place. */

/** Path → the file. Text as it is, other content in base64. */
export type DashboardFiles = Readonly<Record<string, { type: string; text?: string; base64?: string }>>;

export const files: DashboardFiles = {};
