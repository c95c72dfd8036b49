using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public sealed class BatchPlanTests
{
    [Theory]
    [InlineData(5, null, 64, DeviceKind.Cpu, 5)]
    [InlineData(50, null, 64, DeviceKind.Cpu, 8)]
    [InlineData(50, null, 1024, DeviceKind.Cpu, 4)]
    [InlineData(50, null, 4096, DeviceKind.Cpu, 1)]
    [InlineData(50, null, 16384, DeviceKind.Cpu, 1)]
    [InlineData(50, 3, 4096, DeviceKind.Cpu, 3)]
    [InlineData(2, 3, 4096, DeviceKind.Cpu, 2)]
    [InlineData(50, null, 4096, DeviceKind.Cuda, 10)]
    [InlineData(50, 30, 4096, DeviceKind.Cuda, 10)]
    [InlineData(50, null, 4096, DeviceKind.Cuda, 1, 5)]
    [InlineData(int.MaxValue, null, 4096, DeviceKind.Cuda, 10)]
    [InlineData(int.MaxValue, null, 64, DeviceKind.Cuda, 1024, long.MaxValue)]
    [InlineData(int.MaxValue, int.MaxValue, 64, DeviceKind.Cpu, 1024, long.MaxValue)]
    [InlineData(int.MaxValue, int.MaxValue, 1 << 22, DeviceKind.Cpu, 15, long.MaxValue)]
    public void Batches_are_as_large_as_device_and_memory_allow(
        int count, int? limit, int pixels, DeviceKind kind, int expected, long budget = 1000) =>
        Assert.Equal(expected, BatchPlan.Choose(count, limit, pixels, kind, budget, n => n * 100L));

    [Fact]
    public void The_last_batch_takes_what_is_left()
    {
        Assert.Equal([(0, 3), (3, 3), (6, 1)], BatchPlan.Split(7, 3));
        Assert.Equal([(0, 2)], BatchPlan.Split(2, 2));
        Assert.Equal([(0, 8), (8, 8)], BatchPlan.Split(int.MaxValue, 8).Take(2));
        Assert.Equal([(0, int.MaxValue - 1), (int.MaxValue - 1, 1)], BatchPlan.Split(int.MaxValue, int.MaxValue - 1));
    }

    [Fact]
    public void Contexts_without_the_prompt_come_first()
    {
        Assert.Equal([1, 2, 1, 2, 3, 4, 3, 4], BatchPlan.Repeat([1, 2, 3, 4], halves: 2, pictures: 2));
        Assert.Equal([1, 2, 1, 2], BatchPlan.Repeat([1, 2], halves: 1, pictures: 2));
    }
}
