using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public sealed class BatchPlanTests
{
    [Theory]
    [InlineData(5, null, 64, true, 5)]
    [InlineData(50, null, 64, true, 8)]
    [InlineData(50, null, 1024, true, 4)]
    [InlineData(50, null, 4096, true, 1)]
    [InlineData(50, null, 16384, true, 1)]
    [InlineData(50, 3, 4096, true, 3)]
    [InlineData(2, 3, 4096, true, 2)]
    [InlineData(50, null, 4096, false, 10)]
    [InlineData(50, 30, 4096, false, 10)]
    [InlineData(50, null, 4096, false, 1, 5)]
    [InlineData(50, null, 4096, false, 16, 10_000)]
    [InlineData(50, 30, 4096, false, 30, 10_000)]
    [InlineData(5000, null, 64, false, 1024, 1_000_000)]
    [InlineData(50, null, 131072, false, 1, 10_000)]
    [InlineData(int.MaxValue, int.MaxValue, 64, true, 1024, long.MaxValue)]
    [InlineData(int.MaxValue, int.MaxValue, 1 << 22, true, 15, long.MaxValue)]
    public void Batches_are_as_large_as_device_and_memory_allow(
        int count, int? limit, int pixels, bool isProcessor, int expected, long budget = 1000) =>
        Assert.Equal(expected, BatchPlan.Choose(count, limit, pixels, isProcessor, budget, n => n * 100L));

    /// <summary>Whoever takes pictures until he has seen enough asks for as many as can be.</summary>
    [Theory]
    [InlineData(null, false)]
    [InlineData(int.MaxValue, true)]
    public void A_batch_has_no_more_values_than_can_be_counted(int? limit, bool isProcessor)
    {
        const int pixels = 4096;
        Assert.Equal(5, BatchPlan.Choose(int.MaxValue, limit, pixels, isProcessor, 500, pictures =>
        {
            Assert.InRange(2L * 16 * pictures * pixels, 1, int.MaxValue);
            return pictures * 100L;
        }));
    }

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
