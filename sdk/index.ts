/** Owns the package's public face: the client, its errors, and the types of what it gives and takes. */

export { Marionette, type MarionetteOptions } from "./client.ts";
export * from "./core/errors.ts";
export { HistoryCheck, type HistoryProblem, type HistoryReport } from "./core/verify.ts";
export type { Live, LiveHandlers, LiveState } from "./core/live.ts";
export { EventStream, type Reconnect } from "./core/stream.ts";
export { Page, Pages } from "./core/page.ts";
export type { Fetch, RequestOptions } from "./core/request.ts";
export type { ListParams } from "./core/resource.ts";
export type { AgentConfigCreateParams } from "./resources/agent-configs.ts";
export type { AttachmentCreateParams } from "./resources/attachments.ts";
export type { BudgetCreateParams } from "./resources/budgets.ts";
export type { UsageParams, UsageSpan } from "./resources/usage.ts";
export type { EventParams } from "./resources/events.ts";
export type { HostBrowseParams, HostListParams, RunnerListParams } from "./resources/hosts.ts";
export type { KeyCreateParams, RunnerTokenCreateParams } from "./resources/keys.ts";
export type { LogParams, StreamCallOptions } from "./resources/log.ts";
export type { PermissionApproveParams, PermissionListParams } from "./resources/permissions.ts";
export type { ScheduleCreateParams, ScheduleListParams } from "./resources/schedules.ts";
export type { SessionCreateParams, SessionListParams } from "./resources/sessions.ts";
export type { TaskCreateParams, TaskListParams } from "./resources/tasks.ts";
export type { WorkspaceAt, WorkspaceCreateParams, WorkspaceListParams } from "./resources/workspaces.ts";
export { TASK_ENDED } from "./protocol/task.ts";
export { imageTypeOf, MAX_ATTACHMENT_BYTES, MAX_TASK_ATTACHMENT_BYTES, MAX_TASK_ATTACHMENTS } from "./protocol/attachment.ts";
export type {
  AgentConfig, AgentConfigPatch, AgentConfigTest, ApiKey, ApiKeyCreated, Attachment, Budget, BudgetPatch, MetricsSummary, ModelPrice, ModelRequest, Pricing, UsageReport, UsageRow, UsageTotals, Capsule, Collection, ErrorCode, Event, EventData, EventType, FileEntry, Host, KeyScope, ManifestChange, ManifestDiff, ManifestSummary, Permission, Risk, Rule, Run, RunError, Runner, RunnerToken, RunnerTokenCreated,
  Schedule, SchedulePatch, ScheduleStatus, Scope, Session, SessionPatch, SessionStatus, Task, TaskStatus, Tenant, Transcript, Usage, VoiceStatus, Workspace, WorkspacePatch,
} from "./protocol/index.ts";
