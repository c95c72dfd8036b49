using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Work on threads that the system may not give.</summary>
public sealed class DedicatedTests
{
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(8)]
    public void Fewer_threads_do_the_same_work(int given)
    {
        var done = new int[100];
        Dedicated.For(done.Length, 8, i => Interlocked.Increment(ref done[i]), Starting(given), CancellationToken.None);
        Assert.All(done, times => Assert.Equal(1, times));
    }

    /// <summary>What they use is the caller's, who may free it then.</summary>
    [Fact]
    public void Nothing_runs_any_more_when_the_caller_goes_on()
    {
        var running = 0;
        var entered = 0;
        void Work(int i)
        {
            Interlocked.Increment(ref running);
            Interlocked.Increment(ref entered);
            Thread.Sleep(20);
            Interlocked.Decrement(ref running);
        }

        Dedicated.For(8, 4, Work, Starting(2, () => SpinWait.SpinUntil(() => Volatile.Read(ref entered) > 0)), CancellationToken.None);
        Assert.Equal((0, 8), (running, entered));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public void An_error_is_thrown_again(int given) => Assert.Throws<InvalidDataException>(
        () => Dedicated.For(8, 4, i => throw new InvalidDataException(), Starting(given), CancellationToken.None));

    /// <summary>The system gives so many threads.</summary>
    private static Func<Action, BackgroundWork> Starting(int given, Action? beforeRefusal = null) => action =>
    {
        if (given-- > 0)
        {
            return Dedicated.Start(action);
        }

        beforeRefusal?.Invoke();
        throw new InsufficientMemoryException();
    };
}
