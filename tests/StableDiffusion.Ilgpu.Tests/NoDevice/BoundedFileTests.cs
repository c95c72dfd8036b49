using System.IO.Pipes;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

/// <summary>Small files are read whole, and larger ones not at all.</summary>
public sealed class BoundedFileTests
{
    [Fact]
    public void A_file_of_the_most_bytes_is_read_and_a_larger_one_is_refused()
    {
        using var folder = new TemporaryFolder();
        byte[] bytes = [.. Enumerable.Range(0, 10).Select(i => (byte)i)];
        File.WriteAllBytes(folder["a"], bytes);
        Assert.Equal(bytes, BoundedFile.Read(folder["a"], 10, "a file of tens"));
        var error = Assert.Throws<StableDiffusionException>(() => BoundedFile.Read(folder["a"], 9, "a file of nines"));
        Assert.Equal($"{folder["a"]}: has 10 bytes; a file of nines has at most 9", error.Message);
    }

    [Theory]
    [InlineData(10)]
    [InlineData(9)]
    public void A_pipe_is_read_as_far_as_a_file(int most)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "pipes have names like this on Linux");
        using var writer = new AnonymousPipeServerStream(PipeDirection.Out);
        using var reader = new AnonymousPipeClientStream(PipeDirection.In, writer.GetClientHandleAsString());
        writer.Write("0123456789"u8);
        var pipe = $"/dev/fd/{reader.SafePipeHandle.DangerousGetHandle()}";
        writer.Dispose();
        if (most >= 10)
        {
            Assert.Equal("0123456789"u8.ToArray(), BoundedFile.Read(pipe, most, "a file of tens"));
        }
        else
        {
            Assert.Contains("has more than 9 bytes", Assert.Throws<StableDiffusionException>(() => BoundedFile.Read(pipe, most, "a file of nines")).Message, StringComparison.Ordinal);
        }
    }
}
