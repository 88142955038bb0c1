CREATE TABLE "agent_configs" (
	"id" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"name" text NOT NULL,
	"agent" text,
	"api" text NOT NULL,
	"model" text,
	"base_url" text,
	"sealed_key" text NOT NULL,
	"masked_key" text NOT NULL,
	"shared" boolean NOT NULL,
	"requests_per_minute" integer,
	"created_at" timestamp (3) with time zone NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL,
	"version" bigint DEFAULT 1 NOT NULL
);
--> statement-breakpoint
CREATE TABLE "model_prices" (
	"tenant_id" text PRIMARY KEY NOT NULL,
	"models" jsonb NOT NULL,
	"updated_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
CREATE TABLE "model_requests" (
	"id" text PRIMARY KEY NOT NULL,
	"tenant_id" text NOT NULL,
	"session_id" text NOT NULL,
	"task_id" text,
	"run_id" text,
	"labels" jsonb NOT NULL,
	"agent" text NOT NULL,
	"key_source" text NOT NULL,
	"agent_config_id" text,
	"api" text NOT NULL,
	"upstream" text NOT NULL,
	"model" text,
	"outcome" text NOT NULL,
	"status" integer,
	"stop_reason" text,
	"stream" boolean NOT NULL,
	"input_tokens" bigint NOT NULL,
	"output_tokens" bigint NOT NULL,
	"cache_read_tokens" bigint NOT NULL,
	"cache_write_tokens" bigint NOT NULL,
	"reasoning_tokens" bigint NOT NULL,
	"cost_usd" double precision,
	"priced" boolean NOT NULL,
	"price_version" text NOT NULL,
	"estimated" boolean NOT NULL,
	"retries" integer NOT NULL,
	"ttft_ms" double precision,
	"duration_ms" double precision NOT NULL,
	"error" text,
	"created_at" timestamp (3) with time zone NOT NULL
);
--> statement-breakpoint
ALTER TABLE "agent_configs" ADD CONSTRAINT "agent_configs_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "model_prices" ADD CONSTRAINT "model_prices_tenant_id_tenants_id_fk" FOREIGN KEY ("tenant_id") REFERENCES "public"."tenants"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "agent_configs_name" ON "agent_configs" USING btree ("tenant_id","name");--> statement-breakpoint
CREATE INDEX "agent_configs_newest" ON "agent_configs" USING btree ("tenant_id","created_at" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "model_requests_newest" ON "model_requests" USING btree ("tenant_id","created_at" DESC NULLS LAST,"id" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "model_requests_session" ON "model_requests" USING btree ("session_id","created_at" DESC NULLS LAST);--> statement-breakpoint
CREATE INDEX "model_requests_labels" ON "model_requests" USING gin ("labels" jsonb_path_ops);