using StableDiffusion.Ilgpu.Devices;
using Xunit;

namespace StableDiffusion.Ilgpu.Tests.NoDevice;

public sealed class ProcessorNameTests
{
    [Theory]
    [InlineData("AMD EPYC", "vendor_id\t: AuthenticAMD", "model name\t: AMD EPYC", "model name\t: AMD EPYC")]
    [InlineData("Neoverse N1", "CPU implementer\t: 0x41", "CPU architecture: 8", "CPU part\t: 0xd0c", "CPU implementer\t: 0x41", "CPU part\t: 0xd0c")]
    [InlineData("Cortex-A55 and Cortex-A76", "CPU implementer\t: 0x41", "CPU part\t: 0xd05", "CPU implementer\t: 0x41", "CPU part\t: 0xd0b")]
    [InlineData(null, "CPU implementer\t: 0x41", "CPU part\t: 0x001")]
    [InlineData(null, "CPU implementer\t: what", "CPU part\t: ", "Features", "model name")]
    [InlineData(null)]
    public void Name_is_what_Linux_says_of_the_processor(string? name, params string[] information) => Assert.Equal(name, ProcessorName.Of(information));

    [Fact]
    public void Every_processor_has_a_name() => Assert.NotEmpty(ProcessorName.Value.Trim());
}
