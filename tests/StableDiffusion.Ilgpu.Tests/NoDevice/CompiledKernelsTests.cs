using StableDiffusion.Ilgpu.Kernels;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public sealed class CompiledKernelsTests
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(30);

    [Fact]
    public void A_kernel_is_compiled_once()
    {
        var (kernels, compiled) = (new CompiledKernels(), 0);
        Action Compile()
        {
            compiled++;
            return () => { };
        }

        Assert.Same(kernels.Get("a", Compile), kernels.Get("a", Compile));
        Assert.Equal(1, compiled);
    }

    /// <summary>The first is not done before the second is: with one lock around both it never would be.</summary>
    [Fact]
    public async Task Kernels_do_not_wait_for_others()
    {
        var kernels = new CompiledKernels();
        using var begun = new ManualResetEventSlim();
        using var second = new ManualResetEventSlim();
        var cancellation = TestContext.Current.CancellationToken;
        var first = Task.Factory.StartNew(
            () => kernels.Get("first", () =>
            {
                begun.Set();
                Assert.True(second.Wait(Long, cancellation), "the second was not compiled");
                return new Action(() => { });
            }),
            cancellation, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Assert.True(begun.Wait(Long, cancellation));
        kernels.Get("second", () => new Action(() => { }));
        second.Set();
        await first.WaitAsync(Long, cancellation);
    }

    [Fact]
    public void What_did_not_compile_is_tried_again()
    {
        var kernels = new CompiledKernels();
        Assert.Throws<StableDiffusionException>(() => kernels.Get<Action>("a", () => throw new StableDiffusionException("no memory")));
        var launched = false;
        kernels.Get<Action>("a", () => () => launched = true)();
        Assert.True(launched);
    }
}
