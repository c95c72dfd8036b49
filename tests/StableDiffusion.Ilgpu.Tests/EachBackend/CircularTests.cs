using StableDiffusion.Ilgpu.Compilation;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.EachBackend;

/// <summary>
/// Circular convolutions know no edges: a run from moved noise gives the moved latent, and a moved latent the moved picture. So whatever
/// is at an
/// edge is drawn as if it were in the middle, and opposite edges join.
/// </summary>
[Collection(SharedDevice.Name)]
public sealed class CircularTests(DeviceFixture fixture)
{
    public static MatrixTheoryData<string, string> Cases => new(BatchTests.TextToImage, Backend.BestNames);

    [Theory]
    [MemberData(nameof(Cases))]
    public void Moved_noise_gives_the_moved_picture(string name, string backend)
    {
        if (Backend.Find(backend).Half)
        {
            Check<ushort>(name, Backend.Find(backend));
        }
        else
        {
            Check<float>(name, Backend.Find(backend));
        }
    }

    private void Check<T>(string name, Backend backend) where T : unmanaged
    {
        using var model = TinyModels.Load(name);
        using var engine = new DiffusionEngine<T>(model, fixture.DeviceOf(backend), fixture.Kernels<T>(backend), FusionOptions.All);
        var (channels, scale, comparisons) = (model.VaeConfig.LatentChannels, model.VaeConfig.PixelsPerLatent, new Comparisons());

        // The UNet halves each side on every level but one: it knows no edges for moves by whole pixels of its smallest level.
        var unit = 1 << (model.UNetConfig.Channels.Length - 1);
        var (height, width) = (3 * unit, 4 * unit);
        var noise = new BatchNoise(NoiseGenerator.Cuda, 42, 1, channels * height * width).Draw();
        var moved = Move(noise, channels, height, width, unit, 3 * unit);
        var context = engine.Encode([.. model.Tokenize(""), .. model.Tokenize("a red apple")]);
        var (latent, movedLatent) = (Sample(noise, true), Sample(moved, true));
        comparisons.Compare(
            $"{name} latent of moved noise, {backend}", movedLatent, Move(latent, channels, height, width, unit, 3 * unit),
            Limits.FinalLatents(backend.Half));
        Assert.True(
            Comparisons.RelativeL2(Sample(moved, false), Move(Sample(noise, false), channels, height, width, unit, 3 * unit)) > 0.05,
            "without circular convolutions a moved start gives the moved latent too: this test sees nothing");

        var movedByOne = Move(latent, channels, height, width, 1, 2);
        comparisons.Compare(
            $"{name} picture of a moved latent, {backend}", Decode(movedByOne, true),
            Move(Decode(latent, true), 3, height * scale, width * scale, scale, 2 * scale), Limits.Decoder(backend.Half));
        Assert.True(
            Comparisons.RelativeL2(
                Decode(movedByOne, false), Move(Decode(latent, false), 3, height * scale, width * scale, scale, 2 * scale)) > 0.05,
            "without circular convolutions a moved latent gives the moved picture too: this test sees nothing");
        // And back again.
        var picture = Decode(latent, true);
        var movedPicture = Move(picture, 3, height * scale, width * scale, scale, 2 * scale);
        comparisons.Compare(
            $"{name} latent of a moved picture, {backend}", Encode(movedPicture, true), Move(Encode(picture, true), channels, height, width, 1, 2),
            Limits.Encoder(backend.Half));
        Assert.True(
            Comparisons.RelativeL2(Encode(movedPicture, false), Move(Encode(picture, false), channels, height, width, 1, 2)) > 0.05,
            "without circular convolutions a moved picture gives the moved latent too: this test sees nothing");
        comparisons.Verify();

        float[] Encode(float[] from, bool circular) => new PictureEncoder<T>(engine, model, new GenerationRequest { Prompt = "", Circular = circular })
            .Encode(Layout.ToChannelsLast(from, 3, height * width * scale * scale), height * scale, width * scale, TestContext.Current.CancellationToken).Mean.ToArray();

        float[] Sample(float[] start, bool circular) => engine.Sample(new SamplingRun
        {
            Context = new StepContexts(context),
            Guidance = 7,
            Height = height,
            Width = width,
            Circular = circular,
            Plan = Samplers.Ddim.Plan(model.Schedule, 2, Scheduler.Discrete),
            Draw = () => start,
        });

        float[] Decode(float[] from, bool circular) =>
            Layout.ToChannelsFirst(engine.Decode(from, height, width, circular), 3, height * width * scale * scale);
    }

    /// <summary>Planes (channels first) moved down and to the right; what leaves comes in on the other side.</summary>
    private static float[] Move(float[] planes, int channels, int height, int width, int down, int right)
    {
        var result = new float[planes.Length];
        for (var i = 0; i < planes.Length; i++)
        {
            var (c, y, x) = (i / (height * width), i / width % height, i % width);
            result[(((c * height) + ((y + down) % height)) * width) + ((x + right) % width)] = planes[i];
        }

        Assert.Equal(channels * height * width, planes.Length);
        return result;
    }
}
