using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>The memory planner on lists of lifetimes.</summary>
public sealed class PlannerTests(ITestOutputHelper output)
{
    [Fact]
    public void Buffers_that_are_not_live_together_share_memory()
    {
        var (offsets, total) = MemoryPlanner.Plan([new(100, 0, 1), new(100, 2, 3), new(64, 1, 2)]);
        Assert.Equal([0, 0, 128], offsets);
        Assert.Equal(192, total);
    }

    [Fact]
    public void Smallest_gap_that_holds_a_buffer_is_taken()
    {
        // 1024 and 512 leave gaps at 0 and at 1664 behind them; both hold the last buffer.
        var (offsets, total) = MemoryPlanner.Plan(
        [
            new(1024, 0, 0), new(640, 0, 9), new(512, 0, 0), new(448, 0, 9), new(384, 5, 5),
        ]);
        Assert.Equal([0, 1024, 1664, 2176, 1664], offsets);
        Assert.Equal(2624, total);
    }

    [Fact]
    public void Nothing_and_empty_buffers_need_no_memory()
    {
        Assert.Equal(0, MemoryPlanner.Plan([]).Total);
        Assert.Equal(0, MemoryPlanner.Plan([new(0, 0, 1), new(0, 0, 1)]).Total);
    }

    [Fact]
    public void Random_buffers_never_overlap()
    {
        var random = new Random(9);
        var worst = 1.0;
        for (var i = 0; i < 300; i++)
        {
            var requests = new BufferRequest[random.Next(1, 120)];
            for (var j = 0; j < requests.Length; j++)
            {
                var first = random.Next(100);
                var last = random.Next(10) == 0 ? int.MaxValue : first + random.Next(20);
                requests[j] = new BufferRequest(random.Next(1, 1 << random.Next(1, 16)), last == int.MaxValue ? 0 : first, last);
            }

            worst = Math.Max(worst, Check(requests, MemoryPlanner.Plan(requests)));
        }

        // Greedy placement is no optimum; on real graphs (PlacementTests) it is much nearer to it.
        output.WriteLine($"300 random lists: at worst {worst:0.000} times what is live at once (limit 1.5)");
        Assert.True(worst < 1.5);
    }

    /// <summary>Checks a plan; its total as a multiple of the most bytes that are live at once.</summary>
    internal static double Check(IReadOnlyList<BufferRequest> requests, (long[] Offsets, long Total) plan)
    {
        for (var i = 0; i < requests.Count; i++)
        {
            Assert.Equal(0, plan.Offsets[i] % 64);
            Assert.InRange(plan.Offsets[i], 0, plan.Total - requests[i].Bytes);
            for (var j = 0; j < i; j++)
            {
                var apartInTime = requests[i].Last < requests[j].First || requests[j].Last < requests[i].First;
                var apartInSpace = plan.Offsets[i] + requests[i].Bytes <= plan.Offsets[j]
                    || plan.Offsets[j] + requests[j].Bytes <= plan.Offsets[i];
                Assert.True(apartInTime || apartInSpace, $"{requests[i]} at {plan.Offsets[i]}, {requests[j]} at {plan.Offsets[j]}");
            }
        }

        // The most is live where a buffer starts.
        var live = requests.Max(at => requests.Where(r => r.First <= at.First && at.First <= r.Last).Sum(r => (r.Bytes + 63) / 64 * 64));
        Assert.True(plan.Total >= live);
        return (double)plan.Total / live;
    }
}
