using StableDiffusion.Ilgpu.Compilation;
using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>A model's parts are loaded side by side, and stop one another when one fails.</summary>
public sealed class PrepareTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    [Theory]
    [InlineData("text_encoder")]
    [InlineData("unet")]
    [InlineData("vae")]
    public void The_part_that_failed_is_told_and_not_that_others_stopped(string part)
    {
        TemporaryFolder.Copy(ReferenceData.PathOf("tiny-sd15"), folder.Path);

        // Checked when it is opened, and cut off before it is read.
        using var model = LoadedModel.Open(folder.Path);
        var weights = Directory.GetFiles(folder[part], "*.safetensors").Single();
        using (var stream = new FileStream(weights, FileMode.Open))
        {
            stream.SetLength(stream.Length / 2);
        }

        using var device = DeviceSession.OpenCpu(2);
        var backend = new Backend(BackendProfile.Best, Half: true);
        using (var engine = new DiffusionEngine<ushort>(model, device, DeviceFixture.Compile<ushort>(device, backend), FusionOptions.All))
        {
            var e = Assert.Throws<StableDiffusionException>(() => engine.Prepare(model.UNetConfig.SampleSize, TestContext.Current.CancellationToken));
            Assert.Contains(weights, e.Message, StringComparison.Ordinal);
        }

        Assert.Equal(0, device.LiveBuffers);
    }

    /// <summary>A program that draws in ever new sizes must not keep the graphs of all of them.</summary>
    [Fact]
    public void Graphs_that_were_not_used_for_long_are_dropped()
    {
        using var model = LoadedModel.Open(model: null);
        using var device = DeviceSession.OpenCpu(2);
        var backend = new Backend(BackendProfile.Best, Half: true);
        using var engine = new DiffusionEngine<ushort>(model, device, DeviceFixture.Compile<ushort>(device, backend), FusionOptions.All);
        CompiledGraph<ushort> Text(int prompts) => engine.Text(prompts, cancellationToken: TestContext.Current.CancellationToken);
        var (used, unused) = (Text(1), Text(2));
        for (var prompts = 3; prompts < 100; prompts++)
        {
            Assert.Same(used, Text(1));
            Text(prompts);
        }

        Assert.Same(used, Text(1));
        Assert.NotSame(unused, Text(2));
    }

    [Fact]
    public void A_smaller_picture_and_tiles_take_less_memory_than_a_picture_of_the_models_own_size()
    {
        var whole = Arena(new GenerationRequest { Prompt = "a", Steps = 1 });
        Assert.InRange(Arena(new GenerationRequest { Prompt = "a", Steps = 1, Width = 32, Height = 32 }), 1, whole - 1);
        Assert.InRange(Arena(new GenerationRequest { Prompt = "a", Steps = 1, VaeTiling = true, VaeTileWidth = 4, VaeTileHeight = 4 }), 1, whole - 1);

        static long Arena(GenerationRequest request)
        {
            using var pipeline = StableDiffusionPipeline.Load(device: ComputeDevice.Find("cpu"), cancellationToken: TestContext.Current.CancellationToken);
            pipeline.Generate(request, cancellationToken: TestContext.Current.CancellationToken);
            return pipeline.ArenaBytes;
        }
    }

    public void Dispose() => folder.Dispose();
}
