using StableDiffusion.Ilgpu.Sampling;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Two noise schedules against each other.</summary>
internal static class ScheduleCheck
{
    public static void AssertSame(NoiseSchedule expected, NoiseSchedule actual)
    {
        Assert.Equal(Settings(expected), Settings(actual));
        Assert.Equal(Alphas(expected), Alphas(actual));
    }

    private static (PredictionType Prediction, TimestepSpacing? Spacing, int Offset, bool? AlphaToOne, bool SkipPrk, double Final, int Consistency, double Scaling)
        Settings(NoiseSchedule s) =>
        (s.Prediction, s.Spacing, s.StepsOffset, s.SetAlphaToOne, s.SkipPrkSteps, s.FinalSigma, s.ConsistencySteps, s.TimestepScaling);

    private static double[] Alphas(NoiseSchedule schedule) => [.. Enumerable.Range(0, schedule.TrainSteps).Select(schedule.Alpha)];
}
