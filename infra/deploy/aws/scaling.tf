# ECS has no KEDA. The keeper writes the policy's figure into its log each SHITU_SCALING__LOG_S seconds (docs/runbook.md, "A pool
# that scales"), a filter makes a metric of it, and the difference to the desired tasks moves their number: more at
# once, fewer after five minutes in which fewer were enough. No task needs a right for it.
resource "aws_cloudwatch_log_metric_filter" "wanted" {
  name           = "${var.name}-workers-wanted"
  log_group_name = aws_cloudwatch_log_group.all.name
  pattern        = "{ $.message = \"load\" }"
  metric_transformation {
    name      = "workers_wanted"
    namespace = var.name
    value     = "$.workers_wanted"
  }
}

resource "aws_appautoscaling_target" "workers" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${aws_ecs_cluster.all.name}/${aws_ecs_service.process["worker"].name}"
  min_capacity       = local.least_workers
  max_capacity       = local.most_workers
}

# The figure counts the function's jobs as well, which no worker waits for: next to a function the number of the workers is fixed,
# and there is one at least, for enrolments and for /readyz.
locals {
  least_workers = local.with_function ? max(var.least_workers, 1) : var.least_workers
  most_workers  = local.with_function ? local.least_workers : var.most_workers
}

locals {
  steps = range(15) # a policy has twenty at most; a larger difference takes the last one, once a minute
}

resource "aws_appautoscaling_policy" "more" {
  name               = "${var.name}-more-workers"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.workers.service_namespace
  scalable_dimension = aws_appautoscaling_target.workers.scalable_dimension
  resource_id        = aws_appautoscaling_target.workers.resource_id
  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = 60
    dynamic "step_adjustment" {
      for_each = local.steps
      content {
        scaling_adjustment          = step_adjustment.value + 1
        metric_interval_lower_bound = step_adjustment.value
        metric_interval_upper_bound = step_adjustment.value == length(local.steps) - 1 ? null : step_adjustment.value + 1
      }
    }
  }
}

resource "aws_appautoscaling_policy" "fewer" {
  name               = "${var.name}-fewer-workers"
  policy_type        = "StepScaling"
  service_namespace  = aws_appautoscaling_target.workers.service_namespace
  scalable_dimension = aws_appautoscaling_target.workers.scalable_dimension
  resource_id        = aws_appautoscaling_target.workers.resource_id
  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    metric_aggregation_type = "Maximum"
    cooldown                = 60
    dynamic "step_adjustment" {
      for_each = local.steps
      content {
        scaling_adjustment          = -step_adjustment.value - 1
        metric_interval_upper_bound = -step_adjustment.value
        metric_interval_lower_bound = step_adjustment.value == length(local.steps) - 1 ? null : -step_adjustment.value - 1
      }
    }
  }
}

locals {
  alarms = {
    more  = { compared = "GreaterThanOrEqualToThreshold", threshold = 1, minutes = 1, policy = aws_appautoscaling_policy.more.arn }
    fewer = { compared = "LessThanOrEqualToThreshold", threshold = -1, minutes = 5, policy = aws_appautoscaling_policy.fewer.arn }
  }
}

resource "aws_cloudwatch_metric_alarm" "difference" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}-workers"
  comparison_operator = each.value.compared
  threshold           = each.value.threshold
  evaluation_periods  = each.value.minutes
  alarm_actions       = [each.value.policy]
  treat_missing_data  = "ignore"
  metric_query {
    id          = "difference"
    expression  = "wanted - desired"
    label       = "workers wanted and not there"
    return_data = true
  }
  metric_query {
    id = "wanted"
    metric {
      namespace   = var.name
      metric_name = "workers_wanted"
      period      = 60
      stat        = "Maximum"
    }
  }
  metric_query {
    id = "desired"
    metric {
      namespace   = "ECS/ContainerInsights"
      metric_name = "DesiredTaskCount"
      period      = 60
      stat        = "Maximum"
      dimensions = {
        ClusterName = aws_ecs_cluster.all.name
        ServiceName = aws_ecs_service.process["worker"].name
      }
    }
  }
}
