resource "aws_ecs_cluster" "all" {
  name = var.name
  setting {
    name  = "containerInsights" # scaling.tf counts the tasks by it
    value = "enabled"
  }
}

resource "aws_cloudwatch_log_group" "all" {
  name              = "/${var.name}"
  retention_in_days = 30
}

locals {
  settings = {
    SHITU_DATA_DIR             = "/data"
    SHITU_OBJECTS__URL         = "s3://${aws_s3_bucket.objects.id}"
    SHITU_OBJECTS__REGION      = var.region
    SHITU_WEB__HOST            = "0.0.0.0"
    SHITU_WEB__TRUSTED_PROXIES = data.aws_vpc.own.cidr_block
    SHITU_KEYS__REQUIRED       = "true"
    SHITU_KEYS__OPEN_METRICS   = "false"
    SHITU_SCALING__LEAST       = tostring(local.least_workers)
    SHITU_SCALING__STARTUP_S   = "60"
    SHITU_SCALING__LOG_S       = "20"
    SHITU_WORKER__SHUTDOWN_S   = "100"
    PROMETHEUS_MULTIPROC_DIR   = "/data/metrics"
  }
  # Fargate ends a task 120 s after the stop signal at the latest; a job that lasts longer goes back to the queue.
  processes = {
    web     = { image = var.web_image, cpu = 512, memory = 1024, count = 2, stop = 30, health = ["web"] }
    worker  = { image = var.worker_image, cpu = 2048, memory = 4096, count = local.least_workers, stop = 120, health = ["worker"] }
    courier = { image = var.web_image, cpu = 256, memory = 512, count = 1, stop = 120, health = [] }
    keeper  = { image = var.web_image, cpu = 256, memory = 512, count = 1, stop = 30, health = [] }
  }
}

resource "aws_ecs_task_definition" "process" {
  for_each                 = local.processes
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.start.arn
  runtime_platform {
    cpu_architecture        = "X86_64"
    operating_system_family = "LINUX"
  }
  volume {
    name = "data"
  }
  volume {
    name = "tmp"
  }
  container_definitions = jsonencode([{
    name                   = each.key
    image                  = each.value.image
    command                = [each.key]
    essential              = true
    user                   = "10001"
    readonlyRootFilesystem = true
    stopTimeout            = each.value.stop
    environment            = [for name, value in merge(local.settings, local.with_function ? local.waking : {}) : { name = name, value = value }]
    secrets = [for name in ["SHITU_REDIS_URL", "SHITU_WEBHOOKS__SECRET"] : {
      name = name, valueFrom = "${aws_secretsmanager_secret.settings.arn}:${name}::"
    }]
    portMappings = each.key == "web" ? [{ containerPort = 8000 }] : []
    mountPoints  = [{ sourceVolume = "data", containerPath = "/data" }, { sourceVolume = "tmp", containerPath = "/tmp" }]
    healthCheck = {
      command     = concat(["CMD", "python", "-m", "infra.stack.health"], each.value.health)
      interval    = 30
      timeout     = 15
      retries     = 4
      startPeriod = 90
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.all.name
        awslogs-region        = var.region
        awslogs-stream-prefix = each.key
      }
    }
  }])
}

resource "aws_ecs_service" "process" {
  for_each                           = local.processes
  name                               = each.key
  cluster                            = aws_ecs_cluster.all.id
  task_definition                    = aws_ecs_task_definition.process[each.key].arn
  desired_count                      = each.value.count
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  network_configuration {
    subnets         = var.private_subnets
    security_groups = [aws_security_group.tasks.id]
  }
  dynamic "load_balancer" {
    for_each = each.key == "web" ? [1] : []
    content {
      target_group_arn = aws_lb_target_group.web.arn
      container_name   = "web"
      container_port   = 8000
    }
  }
  lifecycle {
    ignore_changes = [desired_count] # of the workers it is the autoscaler's
  }
  depends_on = [aws_lb_listener.web]
}
